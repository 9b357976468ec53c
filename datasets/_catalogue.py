"""The public data sets that `fetch_*` loads: one row each, with what must be known before using them."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes
    ----------
    name : str
        ``fetch_<name>`` loads it.
    file, sha256 : str
        The converted file, looked for in the data home, and its checksum.
    title : str
        One sentence.
    task : str
        "classification" or "regression".
    layout : str
        How the file is read: "dense", "sparse", "table", "probabilities", "images" or "sentences".
    example : str
        Arguments of `Domains.pair` that make a usual problem of it.
    notes : str
        Domains, features, label, and what a user has to know.
    citation, licence, origin : str
        Whose data they are, under which terms, and where the original is found.
    kind : str
        The shift between the domains as far as it is known, a `DomainPair.kind`; "mixed" where it is not.
    label : str
        Column of the label ("table" only).
    extra : tuple of str
        Columns that are no features: outcomes, parts of the label, identifiers, weights, and the columns that
        define the domain ("table" only).

    Examples
    --------
    >>> CATALOGUE["wine_quality"].licence
    'CC BY 4.0'
    """

    name: str
    file: str
    sha256: str
    title: str
    task: str
    layout: str
    example: str
    notes: str
    citation: str
    licence: str
    origin: str
    kind: str = "mixed"
    label: str = "label"
    extra: tuple[str, ...] = ()

    @property
    def example_pair(self) -> tuple:
        """Source and target domains of `example`."""
        return ast.literal_eval(self.example)


CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="office_caltech10",
            file="office_caltech10_surf.npz",
            sha256="522377436767135d1d4c69d24a524f8f6881293fa56726fba780f873d729b978",
            title="Office-Caltech10: objects in ten classes, photographed in four ways (SURF bags of words).",
            task="classification",
            layout="dense",
            example='"caltech", "amazon"',
            notes="Domains amazon 958, caltech 1123, dslr 157, webcam 295; 800 counts of visual words. The usual "
            "preprocessing divides each row by its sum and standardises every column per domain.",
            citation="Saenko et al. (2010), Adapting visual category models to new domains, ECCV; Gong, Shi, Sha, "
            "Grauman (2012), Geodesic flow kernel for unsupervised domain adaptation, CVPR.",
            licence="not stated (research benchmark)",
            origin="the authors of the geodesic flow kernel (SURF features of Office and Caltech-256, ten classes)",
        ),
        Entry(
            name="mnist_usps",
            file="mnist_usps.npz",
            sha256="97afed1c738ec549c34587db798750a959768121d7b773c98c2c4c07f292678c",
            title="MNIST and USPS: handwritten digits of two collections, 16 x 16 pixels.",
            task="classification",
            layout="dense",
            example='"mnist", "usps"',
            notes="Domains mnist 2000, usps 1800; 256 grey values between 0 and 1, row by row. The usual "
            "preprocessing divides each row by its Euclidean norm.",
            citation="LeCun et al. (1998), Gradient-based learning applied to document recognition, Proc. IEEE; "
            "Hull (1994), A database for handwritten text recognition research, IEEE TPAMI; subset of Long et al. "
            "(2013), Transfer feature learning with joint distribution adaptation, ICCV.",
            licence="MNIST CC BY-SA 3.0 as commonly given; USPS not stated",
            origin="the authors of joint distribution adaptation (their MNIST-USPS subset)",
        ),
        Entry(
            name="amazon_reviews",
            file="amazon_reviews_400.npz",
            sha256="633b746f2e2d5468f846b3ccf6ff993e1fcd6a0a4e9aa6480119e0747280c5a2",
            title="Amazon reviews: sentiment of the reviews of four kinds of products.",
            task="classification",
            layout="dense",
            example='"books", "kitchen"',
            notes="Domains books 2000, dvd 1999, elec 1998, kitchen 1999; frequencies of 400 words, each row of sum "
            "1; balanced classes. Which label is the positive one is not stated, but it is the same everywhere. "
            "151 rows are exact copies of others.",
            citation="Blitzer, Dredze, Pereira (2007), Biographies, Bollywood, boom-boxes and blenders, ACL; "
            "400 words of Gong, Grauman, Sha (2013), Connecting the dots with landmarks, ICML.",
            licence="not stated (research benchmark)",
            origin="the authors of 'Connecting the dots with landmarks' (400-word features)",
        ),
        Entry(
            name="newsgroups",
            file="newsgroups20_comp_rec.npz",
            sha256="2b7c4c7518d976f1551079ae8b2d683de773879f88b96b09a0cd3f7e536717c0",
            title="20 Newsgroups, computers against recreation: other sub-groups in the target (sparse texts).",
            task="classification",
            layout="sparse",
            example='["comp_1", "comp_2", "rec_1", "rec_2"], None',
            notes="Domains comp_1 ... comp_4 (label 0) and rec_1 ... rec_4 (label 1), 7838 documents of 20668 terms, "
            "weights as found and very skewed: normalise the rows. The benchmark has 36 tasks: two comp and two rec "
            "groups are the source, the other four the target.",
            citation="Lang (1995), NewsWeeder: learning to filter netnews, ICML; Long, Wang, Ding, Pan, Yu (2014), "
            "Adaptation regularization, IEEE TKDE.",
            licence="not stated (public newsgroup messages)",
            origin="the authors of adaptation regularization (cross-domain 20 Newsgroups, comp vs rec)",
        ),
        Entry(
            name="imdb_genres",
            file="imdb_genres.npz",
            sha256="16ae99a52544bd254bfa68c69e6eb49ae3bd6d1298dd4a5d17eaec4fe9b8fedd",
            title="IMDb: sentiment of the reviews of three genres of films (sparse word counts).",
            task="classification",
            layout="sparse",
            example='"Action", "War"',
            notes="Domains Action 3402, Family 1249, War 3697; counts of 4180 words. Which label is the positive one "
            "is not stated.",
            citation="Maas et al. (2011), Learning word vectors for sentiment analysis, ACL; Kouw, van der Maaten, "
            "Krijthe, Loog (2016), Feature-level domain adaptation, JMLR 17.",
            licence="MIT (the authors' repository); reviews: not stated",
            origin="github.com/wmkouw/flda",
        ),
        Entry(
            name="sms_mail_spam",
            file="sms_mail_spam.npz",
            sha256="4eee7d7c101172431323ca2c5b1091d4de200c0f0bbd0095f879ffe71f41e0fc",
            title="Spam in text messages and in e-mails: two domains with little in common (sparse word counts).",
            task="classification",
            layout="sparse",
            example='"sms", "mail"',
            notes="Domains sms 5338, mail 4205; counts of 4272 words; label 1 = spam (inferred from the class sizes). "
            "A hard case on purpose: the meaning of the words differs, and a model carries over hardly at all.",
            citation="Almeida, Gomez Hidalgo, Yamakami (2011), Contributions to the study of SMS spam filtering, "
            "DocEng; Kouw, van der Maaten, Krijthe, Loog (2016), Feature-level domain adaptation, JMLR 17.",
            licence="MIT (the authors' repository); messages: not stated",
            origin="github.com/wmkouw/flda",
        ),
        Entry(
            name="gas_sensor",
            file="gas_sensor_drift.npz",
            sha256="9b6afcc21eaca3802e06a83fca0992977fb9ff48a808ed86a75ea6267b4b374a",
            title="Gas sensors that age: six gases measured over 36 months.",
            task="classification",
            layout="dense",
            example='"batch1", None',
            notes="Domains batch1, 2, 3, 4, 5, 6, 8 and 9 (445, 1244, 1586, 161, 197, 2300, 294, 470 rows; batches 7 "
            "and 10 are missing); 128 raw sensor features, the gas as label; `extra` has its concentration "
            "(ppmv), which serves as label of a regression. Batches 3, 4 and 5 hold no class 5.",
            citation="Vergara et al. (2012), Chemical gas sensor drift compensation using classifier ensembles, "
            "Sensors and Actuators B 166.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 224 (and 270)",
        ),
        Entry(
            name="heart_disease",
            file="heart_disease_hospitals.csv.gz",
            sha256="014516d84fba774d6319dfdfcc037532fc816ffb0164ca59e83d2b8404682fa9",
            title="Heart disease at four hospitals.",
            task="classification",
            layout="table",
            example='"cleveland", "va"',
            notes="Domains cleveland 303, hungarian 294, switzerland 123, va 200; 13 measurements; label 1 = disease. "
            "What is missing differs between the hospitals, and a cholesterol of 0 (all of Switzerland) means "
            "missing: both are part of the shift. `extra`: num, the degree of the disease.",
            citation="Detrano et al. (1989), International application of a new probability algorithm for the "
            "diagnosis of coronary artery disease, American Journal of Cardiology 64.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 45",
            extra=("num",),
        ),
        Entry(
            name="mushrooms",
            file="mushrooms.csv.gz",
            sha256="b1e1a2b15ba767ea2b8159db7218f4ca3834e630765b049217ead8e76036915e",
            title="Mushrooms, edible or poisonous, with stalks of two shapes.",
            task="classification",
            layout="table",
            example='"enlarging", "tapering"',
            notes="Domains enlarging 3516, tapering 4608 (the shape of the stalk); 21 categorical features, '?' = "
            "unknown; label 1 = poisonous.",
            citation="Mushroom (1981), UCI; split of Dai, Yang, Xue, Yu (2007), Boosting for transfer learning, ICML.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 73",
            extra=("class", "stalk_shape"),
        ),
        Entry(
            name="adult",
            file="adult.csv.gz",
            sha256="c1a883b44df904fb3bceb22a1cd6bd38168af8e0bdaba4fa7b738d82ee5059bb",
            title="Adult: an income above 50,000 dollars, of people born in the United States or elsewhere.",
            task="classification",
            layout="table",
            example='"us_born", "foreign_born"',
            notes="Domains us_born 29170, foreign_born 2808, unknown 583; 12 features; label 1 = above. `extra`: the "
            "country of birth, the census weight fnlwgt and the income class. The shift does little harm.",
            citation="Kohavi (1996), Scaling up the accuracy of naive-Bayes classifiers, KDD.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 2 (training part)",
            extra=("native_country", "fnlwgt", "income"),
        ),
        Entry(
            name="acs_income",
            file="acs_income_20states.csv.gz",
            sha256="4fc0954a58352ac18be2228a39472aaa38ae1e7cfd0926a0d22eab7fd8e4f187",
            title="American Community Survey: an income above 50,000 dollars, in 20 states.",
            task="classification",
            layout="table",
            example='"CA", "AL"',
            notes="Domains AK ... MD (two letters), 100000 adults of 2013-2017 in all, California 27161, Alaska 508; "
            "age, sex, marital status and, for each of seven kinds of income, whether there is any (has_wagp, ...). "
            "The amounts add up to the label and are left out; `extra` has them, the sampling weight pwgtp and the "
            "survey year. California -> Maryland is nearly free of covariate shift.",
            citation="US Census Bureau, American Community Survey, public use microdata sample 2013-2017.",
            licence="public domain (extract: GPL-3, R package microweight)",
            origin="US Census Bureau PUMS; github.com/donboyd5/microweight",
            extra=(
                "survey_year",
                "sporder",
                "pwgtp",
                "adjinc",
                "pincp",
                "incgroup",
                "wagp",
                "intp",
                "pap",
                "retp",
                "ssip",
                "ssp",
                "otherincp",
            ),
        ),
        Entry(
            name="electricity",
            file="electricity_elec2.csv.gz",
            sha256="c89c37ead3b8b6774f8f144e33a44a946854d80230f0343c9c7ca1228c65b0f1",
            title="Elec2: the price of electricity in New South Wales, up or down, half an hour ahead.",
            task="classification",
            layout="table",
            example='"block[0-4]", "block[5-9]"',
            notes="Domains block0 ... block9, ten equal parts of 45312 half hours in the order of time; 6 features "
            "(time of the day, prices, demands, transfer); label 1 = up. vicprice, vicdemand and transfer are "
            "constant in the first 17424 rows. The labels are autocorrelated: random folds flatter every model.",
            citation="Harries (1999), Splice-2 comparative evaluation: electricity pricing, UNSW; Gama, Medas, "
            "Castillo, Rodrigues (2004), Learning with drift detection, SBIA.",
            licence="not stated",
            origin="github.com/scikit-multiflow/streaming-datasets (normalised version)",
            extra=("time_index",),
        ),
        Entry(
            name="bike_sharing",
            file="bike_sharing_hour.csv.gz",
            sha256="0cb0638e002dc884dfb502ad87a317f350d80524a2d840bdf4ce3b891d59b561",
            title="Bike sharing in Washington: rentals per hour in two years and four seasons.",
            task="regression",
            layout="table",
            example='"2011_*", "2012_*"',
            notes="Domains 2011_season1 ... 2012_season4 (season1 = winter), 17379 hours; 10 features of calendar and "
            "weather; y = cnt. `extra`: casual and registered, which add up to cnt, the date, year and season. "
            '2011 -> 2012 ("2011_*", "2012_*") is mostly a concept shift, as demand grew; winter -> summer a '
            "covariate shift.",
            citation="Fanaee-T, Gama (2014), Event labeling combining ensemble detectors and background knowledge, "
            "Progress in Artificial Intelligence 2.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 275",
            label="cnt",
            extra=("instant", "dteday", "yr", "season", "casual", "registered"),
        ),
        Entry(
            name="wine_quality",
            file="wine_quality.csv.gz",
            sha256="fde316497c94f2a3062bbff60dfa06736ced309c787031d5065c8b6e4814f5dc",
            title="Wine quality: red and white.",
            task="regression",
            layout="table",
            example='"white", "red"',
            notes="Domains red 1599, white 4898; 11 physico-chemical features; y = quality, 3 to 9. 1177 rows are "
            "exact duplicates. The domains are separable and a white-wine model fails on red.",
            citation="Cortez, Cerdeira, Almeida, Matos, Reis (2009), Modeling wine preferences by data mining, "
            "Decision Support Systems 47(4).",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 186",
            label="quality",
        ),
        Entry(
            name="california_housing",
            file="california_housing.csv.gz",
            sha256="7bb406a9e539bf736f1d0b8bdf59ab756b129f68445c6e1151142a1be8071bfd",
            title="California housing 1990: house values in four regions.",
            task="regression",
            layout="table",
            example='"south_*", "north_*"',
            notes="Domains north_inland 4180, north_coastal 4646, south_inland 2371, south_coastal 9443; 6 features "
            "(total_bedrooms with 207 missing values); y = median_house_value, capped at 500001. `extra`: "
            "the coordinates and the proximity to the ocean, which define the domain.",
            citation="Pace, Barry (1997), Sparse spatial autoregressions, Statistics and Probability Letters 33.",
            licence="not stated",
            origin="StatLib; github.com/ageron/data (with ocean_proximity)",
            label="median_house_value",
            extra=("longitude", "latitude", "ocean_proximity"),
        ),
        Entry(
            name="compas",
            file="compas_two_years.csv.gz",
            sha256="ca0820f55172c43b20627f54851684953e20356323d81450cbaa0217fb2651da",
            title="COMPAS: recidivism within two years in Broward County, by half-year.",
            task="classification",
            layout="table",
            example='"2013*", "2014*"',
            notes="Domains 2013H1 2856, 2013H2 2255, 2014H1 1414, 2014H2 689; 10 features, without names and dates; "
            "label 1 = recidivism. `extra`: the vendor's scores and the other outcomes. Sensitive: meant for "
            "checks of fairness under shift only. Hardly any shift.",
            citation="Angwin, Larson, Mattu, Kirchner (2016), Machine bias, ProPublica.",
            licence="not stated",
            origin="github.com/propublica/compas-analysis",
            extra=("screening_month", "decile_score", "score_text", "v_decile_score", "is_recid", "two_year_recid"),
        ),
        Entry(
            name="diabetes130",
            file="diabetes130_readmission.csv.gz",
            sha256="a72f28a4c40f076c640c52281fa5164df5719c45297850ec57fe83ee33f2eb6f",
            title="Diabetes in 130 hospitals: readmission within 30 days, by the way of admission.",
            task="classification",
            layout="table",
            example='None, "emergency_room"',
            notes="Domains emergency_room 57494, physician_referral 29565, null_17 6781, transfer_hospital 3187, "
            "transfer_other_facility 2264, other 1371, clinic_referral 1104; 45 features; label 1 = readmitted "
            "within 30 days. A patient may have several rows, in several domains: `groups` is the patient.",
            citation="Strack et al. (2014), Impact of HbA1c measurement, "  # codespell:ignore strack
            "BioMed Research International, 781670.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 296",
            extra=("admission_source_id", "readmitted", "patient_id"),
        ),
        Entry(
            name="bank_marketing",
            file="bank_marketing.csv.gz",
            sha256="358605f84fa244368b7ed43658e0bd71b8c5bfca1192e2d9e32eaf37090cf0d1",
            title="Bank marketing: who signs a term deposit, over three years.",
            task="classification",
            layout="table",
            example='"2008", "2009"',
            notes="Domains 2008 24397, 2009 13236, 2010 2371 (the year, inferred from the order of the rows; divorced "
            "clients are missing); 13 features; label 1 = signed: 4.8 %, 17.1 %, 52.0 %. `extra`: the duration of "
            "the call, known only after it, and the day and month.",
            citation="Moro, Cortez, Rita (2014), A data-driven approach to predict the success of bank "
            "telemarketing, Decision Support Systems 62.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 222",
            extra=("duration", "day", "month", "y"),
        ),
        Entry(
            name="student_performance",
            file="student_performance.csv.gz",
            sha256="8a3ebfd0d6a5fb02a818f01797949e9de4d745fdc152f26db6cb1dc289cc777c",
            title="Students of two Portuguese schools in two subjects: a high or a low mark.",
            task="classification",
            layout="table",
            example='"*_GP", "*_MS"',
            notes='Domains math_GP 349, math_MS 46, portuguese_GP 423, portuguese_MS 226 ("math_*", "*_GP"); 29 '
            "features; label 1 = high. 366 students occur in both subjects: `groups` are the students, "
            "matched by the 13 columns of the authors' own merge. `extra`: school, subject and the marks G1, G2.",
            citation="Cortez, Silva (2008), Using data mining to predict secondary school student performance, "
            "FUBUTEC.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 320",
            extra=("subject", "school", "G1", "G2", "class"),
        ),
        Entry(
            name="airfoil",
            file="airfoil_self_noise.csv.gz",
            sha256="d3985f9e4ec931110b25da86384ab40de1412dec16f41ce747419df4cb70aaac",
            title="Airfoil self-noise at four wind speeds.",
            task="regression",
            layout="table",
            example='["velocity_31.7", "velocity_39.6"], None',
            notes="Domains velocity_31.7 281, velocity_39.6 480, velocity_55.5 277, velocity_71.3 465; 5 features, of "
            "which velocity_ms separates the domains; y = sound_pressure_db.",
            citation="Brooks, Pope, Marcolini (1989), Airfoil self-noise and prediction, NASA RP-1218; covariate "
            "shift of Tibshirani, Barber, Candes, Ramdas (2019), Conformal prediction under covariate shift, NeurIPS.",
            licence="CC BY 4.0",
            origin="UCI Machine Learning Repository 291",
            label="sound_pressure_db",
        ),
        Entry(
            name="gasoline",
            file="gasoline_oecd_panel.csv.gz",
            sha256="7153bd6f7c0f3c9cd2cd7b9915f8bf3c43ca77e7d97257b09d3e7c1f1a5aae8f",
            title="Gasoline demand per car in 18 OECD countries, 1960-1978.",
            task="regression",
            layout="table",
            example='None, "U.S.A."',
            notes="Domains AUSTRIA ... U.S.A., 19 years each; log income, log price and log cars per head; y = "
            "LGASPCAR. Small, and trees cannot extrapolate between countries.",
            citation="Baltagi, Griffin (1983), Gasoline demand in the OECD, European Economic Review 22; Teshima, "
            "Sato, Sugiyama (2020), Few-shot domain adaptation by causal mechanism transfer, ICML.",
            licence="not stated (code of the source repository: Apache-2.0)",
            origin="github.com/takeshi-teshima/few-shot-domain-adaptation-by-causal-mechanism-transfer",
            label="LGASPCAR",
            extra=("COUNTRY", "YEAR"),
        ),
        Entry(
            name="cifar10_predictions",
            file="label_shift_cifar10_predictions.npz",
            sha256="6388a419994b9f0f1766e4e29e2b64cc270cb1d1b95780d6717848ad56797d20",
            title="CIFAR-10 under label shift: the probabilities that a trained network gives, no images.",
            task="classification",
            layout="probabilities",
            example='"valid", "test"',
            notes="Domains valid 10000 (balanced) and test 1000 (classes 0, 2, 3 only: 13, 19, 968); 10 probabilities, "
            "in the order of the classes.",
            citation="Alexandari, Kundaje, Shrikumar (2020), Maximum likelihood with bias-corrected calibration is "
            "hard-to-beat at label shift adaptation, ICML.",
            licence="not stated",
            origin="github.com/kundajelab/labelshiftexperiments",
            kind="label",
        ),
        Entry(
            name="fewrel",
            file="fewrel_wiki_pubmed.jsonl.gz",
            sha256="de91fda0c46fea29c7d7608e5025961c33543a84d9e6c77473b0f40615df699c",
            title="FewRel: which relation a sentence states, in Wikipedia and in medicine (few-shot).",
            task="classification",
            layout="sentences",
            example='"wiki", "pubmed"',
            notes="Domains wiki (16 relations x 700), pubmed (10 other relations x 100), pubmed_unlabelled 2500 (label "
            "missing); a frame with the sentence, its head and its tail entity. `extra`: the tokens, and where the "
            "entities stand among them. The relations of the domains differ: only few-shot methods apply.",
            citation="Han et al. (2018), FewRel, EMNLP; Gao et al. (2019), FewRel 2.0, EMNLP.",
            licence="MIT",
            origin="github.com/thunlp/FewRel",
        ),
        Entry(
            name="omniglot",
            file="omniglot_small1.npz",
            sha256="7dfc7d90b4f46ed51971ef21cce075d5a3ec2455099c3b46630b33ad42d961bf",
            title="Omniglot, small background set 1: characters of five alphabets, 20 drawings each (few-shot).",
            task="classification",
            layout="images",
            example='"Latin", "Greek"',
            notes="Domains Balinese, Early_Aramaic, Greek, Korean, Latin; 2720 images of 28 x 28 pixels between 0 and "
            "255 (ink), flattened row by row; label = one of 136 pairs of alphabet and character; `groups` "
            "are the drawers of an alphabet; `extra`: character and drawer.",
            citation="Lake, Salakhutdinov, Tenenbaum (2015), Human-level concept learning through probabilistic "
            "program induction, Science 350.",
            licence="MIT",
            origin="github.com/brendenlake/omniglot",
        ),
    )
}
